# SPDX-License-Identifier: Apache-2.0
"""Homotopy continuation: following a path from a known point to a zero of a residual.

Example:
```python
path = homotopy.trace(lambda z: z - tf.cos(z), tf.zeros([3], tf.float64))
path.state  # 0.7390851332, three times
```
"""

from homoode_tf.homotopy.continuation import trace
from homoode_tf.homotopy.path import HomotopyError, Path, PathStatus

__all__ = ["HomotopyError", "Path", "PathStatus", "trace"]
