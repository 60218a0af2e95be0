"""The CloudFront distribution of the local run, which runs the very JavaScript that runs on AWS."""
