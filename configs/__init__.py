# SPDX-License-Identifier: Apache-2.0
"""Recipes: one file a data set, each with a `get_config()`."""
