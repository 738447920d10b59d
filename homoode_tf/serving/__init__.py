# SPDX-License-Identifier: Apache-2.0
"""Trained classifiers outside training: export, predictions, conversion."""
