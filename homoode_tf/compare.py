# SPDX-License-Identifier: Apache-2.0
"""Models trained side by side: equal parameters, equal data, equal budget.

`python -m homoode_tf.compare --config=configs/compare_digits.py` trains them and reports.
"""

if __name__ == "__main__":
    from homoode_tf import commands

    commands.compare()

from homoode_tf.report.compare.experiment import Experiment, Member
from homoode_tf.report.compare.results import summarise

__all__ = ["Experiment", "Member", "summarise"]
