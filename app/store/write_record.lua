-- Sets fields of the pool's record, also when memory is short: tunables have to be changed then, too.
--
-- KEYS[1] the record   ARGV[1] what to add to its version   ARGV[2 …] field, value, field, value, …
--
-- Answers the version.

redis.call('HDEL', KEYS[1], '-') -- the first write: allowed when memory is short
if #ARGV > 1 then redis.call('HSET', KEYS[1], unpack(ARGV, 2)) end
return redis.call('HINCRBY', KEYS[1], 'version', ARGV[1])
