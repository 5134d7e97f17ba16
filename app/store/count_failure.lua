-- Counts a reclaim that did not make the room it should.
--
-- KEYS[1] stripe   ARGV[1 …] the fields to count it in

call('HDEL', KEYS[1], '-') -- the first write: allowed when memory is short
for _, field in ipairs(ARGV) do
  call('HSET', KEYS[1], field, reclaims_after(call('HGET', KEYS[1], field), 0, 0, 1))
end
return 1
