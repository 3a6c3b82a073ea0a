"""Places beyond this machine's disks, by URI: S3, Google Cloud, Azure, the web, Hugging Face.

What fsspec and its libraries can do is theirs: credentials, protocols, pools of connections. Here
is what a scan needs besides: listings page by page, retries with back-off, timeouts, and one line
that says what is wrong, never with a secret in it.

Nothing is imported here; fsspec is loaded when a URI is first used.
"""
