-- Takes, renews or gives back a lease that one owner has at a time.
--
-- KEYS[1] the lease   ARGV[1] who asks   ARGV[2] milliseconds, 0 to give it back
--
-- Answers 1 if it is theirs now (or was, and is nobody's now), 0 if somebody else has it.

local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('PERSIST', KEYS[1]) -- the first write: allowed when memory is short
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
