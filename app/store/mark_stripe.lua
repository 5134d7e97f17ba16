-- Puts the pool's UUID on a stripe that bears none.
--
-- KEYS[1] stripe   ARGV[1] the pool's UUID   ARGV[2] '1' if the stripe bore it before, so that its pages were lost
--
-- Answers 1 if it was put, 0 if it was there, -1 if the stripe bears another pool's.

local id = redis.call('HGET', KEYS[1], 'id')
if id == ARGV[1] then return 0 end
if id then return -1 end
redis.call('HDEL', KEYS[1], 'id') -- the first write: allowed when memory is short
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], 'id', ARGV[1], 'lost', 1)
else
  redis.call('HSET', KEYS[1], 'id', ARGV[1])
end
return 1
