# SPDX-License-Identifier: Apache-2.0
"""What came of trainings: members side by side, and figures of one run."""
