#!/bin/sh
# As verify.sh, and the device's signature of every single entry: about 7 ms each.
PATH=/usr/bin:/bin
export PATH
EVERY_SIGNATURE=yes exec sh ./verify.sh
