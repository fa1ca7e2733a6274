"""What the notebooks are built from: figures, sliders, exercise checks. Nothing else imports it."""
