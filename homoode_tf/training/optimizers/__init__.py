# SPDX-License-Identifier: Apache-2.0
"""What turns gradients into updates."""
