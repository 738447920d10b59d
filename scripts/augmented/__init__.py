# SPDX-License-Identifier: Apache-2.0
"""Why Augmented Neural ODEs work: what each part of a trained one does; `docs/augmented.md`."""
