-- Tells a stripe of a type's newest policy: it refuses what goes by an older one from now on.
--
-- KEYS[1] stripe   ARGV[1] the field of the type's version   ARGV[2] version
--
-- Answers 1 if it was newer.

local seen = redis.call('HGET', KEYS[1], ARGV[1])
if seen and tonumber(seen) >= tonumber(ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[1], '-') -- the first write: allowed when memory is short
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
