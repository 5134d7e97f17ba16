#!/bin/sh
# Redis with the password of a secret: in a file that only Redis can read, never among the arguments that `ps` shows.
set -eu
umask 077
printf 'requirepass "%s"\n' "$(sed 's/["\\]/\\&/g' /run/secrets/redis_password)" > /run/redis-password.conf
chown redis /run/redis-password.conf
exec docker-entrypoint.sh redis-server /etc/pagepool/redis.conf --include /run/redis-password.conf "$@"
