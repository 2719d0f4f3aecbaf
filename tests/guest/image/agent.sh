# SPDX-License-Identifier: Apache-2.0
# Runs commands that the host sends over the second serial port: a line 'NUMBER BASE64' in, the line
# 'NUMBER STATUS BASE64' out. The output of a command is what it wrote to stdout and stderr.
exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo
echo "@@ agent"
echo "ready" >&3
while read -r number command <&3; do
    echo "$command" | base64 -d >/tmp/agent.command
    sh /tmp/agent.command >/tmp/agent.output 2>&1 </dev/null
    status=$?
    echo "$number $status $(base64 -w 0 /tmp/agent.output)" >&3
done
