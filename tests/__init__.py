"""Proofs; a package, since an installed one is called so, too."""
