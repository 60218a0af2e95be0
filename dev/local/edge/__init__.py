"""The CDN edge of the local run: template.yaml's distribution, with its own functions, before API and bucket.

What is uploaded here passes the very JavaScript that it passes on AWS.
"""
