#!/bin/sh
# Makes a Redis Cluster of redis-1 … redis-6 (three masters, a replica each), if it is none yet, and waits until it is.
set -eu
if ! redis-cli -h redis-1 cluster info | grep -q 'cluster_slots_assigned:16384'; then
    nodes=
    for number in 1 2 3 4 5 6; do
        address=$(getent hosts "redis-$number" | cut -d ' ' -f 1)
        nodes="$nodes $address:6379"
    done
    # shellcheck disable=SC2086  # a list
    redis-cli --cluster create $nodes --cluster-replicas 1 --cluster-yes
fi
until redis-cli -h redis-1 cluster info | grep -q 'cluster_state:ok'; do sleep 0.5; done
