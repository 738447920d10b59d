# SPDX-License-Identifier: Apache-2.0
"""One small equation z = g(z; x), solved from both sides; makes `docs/two_sides.md`.

python -m scripts.two_sides   # one and a half to three minutes on two busy cores; needs '.[plots]'
"""
