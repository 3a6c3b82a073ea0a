"""Why an image got its score: which patches spoke for fake, and which experts were asked."""
