# SPDX-License-Identifier: Apache-2.0
"""Models trained side by side: equal parameters, equal data, equal budget."""

from homoode_tf.report.compare.experiment import Experiment, Member
from homoode_tf.report.compare.results import summarise

__all__ = ["Experiment", "Member", "summarise"]
