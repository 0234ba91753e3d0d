"""How the platform is: a grade for each part of it, as asset checks, as JSON and as an alert when it changes."""
