"""A student without attention as a page: files of cells dropped on it, vectors and a picture out, nothing uploaded."""

from tahoe_distill.lazy import hand_out

# Name -> module that defines it.
_PUBLIC = {"write_page": "tahoe_distill.browser.write"}

__all__ = list(_PUBLIC)
__getattr__, __dir__ = hand_out(__name__, _PUBLIC)
