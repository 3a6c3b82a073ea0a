"""Pictures of an evaluation, drawn by matplotlib, which only these modules load."""
