#!/usr/bin/env bash
# The main job, step by step, on the cluster of $KUBECONFIG: code in, image
# built, URL out, an event and a tick delivered, down to zero and back.
# `make up` runs it, and the README's tour is made of its commands.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/bin:$PATH

step() { printf '\n\033[1m%s\033[0m\n' "$1" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9]*m//g'; fi; }
run() {
	echo "\$ $*"
	"$@"
}
# until_seen TEXT COMMAND...: repeats the command for $patience seconds at most.
patience=180
until_seen() {
	local text=$1 output='' deadline=$((SECONDS + patience))
	shift
	echo "\$ $*"
	until output=$("$@" 2>&1) && grep -m1 -- "$text" <<<"$output"; do
		if ((SECONDS > deadline)); then
			echo "tour: \"$text\" was not seen in $patience seconds in the output of: $*" >&2
			exit 1
		fi
		sleep 0.5
	done
}

step "Deploy the sample from its source"
run knit deploy samples/hello

step "It answers"
run knit invoke hello

step "An event reaches it through the broker"
# A trigger that is only just ready may let its first events pass by: Knative's
# in-memory channel keeps none. So the event is sent again until one arrives.
for try in 1 2 3 4 5 6; do
	id=tour-$(date +%s)
	run knit event send --type dev.knit.hello --source /tour --id "$id" --data '{"greet":"tour"}'
	! (patience=20 until_seen "$id" knit logs hello) || break
	((try < 6)) || exit 1
done

step "A tick reaches it every minute"
until_seen Delivered knit schedule list

step "With nothing to do it goes to zero"
until_seen '^hello .* True  *-  *0 ' knit list

step "And answers again"
run knit invoke hello -v

step "Go on"
cat <<NEXT
  export KUBECONFIG=${KUBECONFIG:-~/.kube/config}
  edit samples/hello/hello.go and run:  bin/knit deploy samples/hello
  see what there is:                    bin/knit list; bin/knit describe hello
  the cluster's parts:                  bin/knit cluster status
  stop it, remove it:                   make down; make delete
NEXT
run knit list
