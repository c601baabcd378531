"""Promotion by proof: what a challenger has to show, and how the champion is compared with it."""
