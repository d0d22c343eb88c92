#!/bin/bash
# Bootstrap action of an EMR cluster: Python 3.11 and the archive of Liveshelf's libraries, on every node.
# Usage: emr_bootstrap.sh s3://bucket/key-of-the-archive.tar.gz
set -euo pipefail
archive=${1:?expected the S3 address of the archive}
folder=/opt/liveshelf/environment
command -v python3.11 >/dev/null || sudo dnf install -y -q python3.11
sudo mkdir -p "$folder"
aws s3 cp --only-show-errors "$archive" - | sudo tar -xz -C "$folder"
"$folder/bin/python" -c 'import batch.train, numba, numpy' # fails here and now rather than in the first step
