-- Makes the pool's record where there is none; answers what it says.
--
-- KEYS[1] the record   ARGV field, value, field, value, … of a new one
--
-- Answers {1 if it was made now, HGETALL}.

local made = redis.call('EXISTS', KEYS[1]) == 0
if made then
  redis.call('HDEL', KEYS[1], '-') -- the first write: allowed when memory is short
  redis.call('HSET', KEYS[1], unpack(ARGV))
end
return {made and 1 or 0, redis.call('HGETALL', KEYS[1])}
