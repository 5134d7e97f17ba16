-- Compares a chunk's map with the fields that it has.
--
-- KEYS[1] chunk   KEYS[2] chunk maps of the type's runs   ARGV[1] run   ARGV[2] the chunk's place in its run
-- ARGV[3] '1' to mend the bytes that the map says, and a missing place in the index (then KEYS[3] the type's runs)
--
-- Answers {map before any mending or nil, bytes of all blobs, index, index, … of all blobs, 1 if the index has the chunk}
-- as {m, bytes, {indices}, indexed}; {} where there is no such chunk any more.

local m = redis.call('HGET', KEYS[1], 'm')
local fields = redis.call('HKEYS', KEYS[1])
if #fields == 0 then return {} end
local bytes, indices = 0, {}
for _, field in ipairs(fields) do
  if field ~= 'm' and field ~= 'g' then
    bytes = bytes + redis.call('HSTRLEN', KEYS[1], field)
    indices[#indices + 1] = tonumber(field) -- not of a raw page's rest
  end
end
local place = tonumber(ARGV[2])
local lo, hi = struct.unpack('<I4I4', redis.call('HGET', KEYS[2], ARGV[1]) or '\0\0\0\0\0\0\0\0')
local bit_lo, bit_hi = 0, 0
if place < 32 then bit_lo = bit.lshift(1, place) else bit_hi = bit.lshift(1, place - 32) end
local indexed = (bit.band(lo, bit_lo) ~= 0 or bit.band(hi, bit_hi) ~= 0) and 1 or 0
if ARGV[3] == '1' then
  if m and #m == 40 and struct.unpack('<I4', m, 37) ~= bytes then
    redis.call('HSET', KEYS[1], 'm', string.sub(m, 1, 36) .. struct.pack('<I4', bytes))
  end
  if indexed == 0 then
    redis.call('HSET', KEYS[2], ARGV[1], struct.pack('<I4I4', bit.bor(lo, bit_lo), bit.bor(hi, bit_hi)))
    redis.call('ZADD', KEYS[3], ARGV[1], ARGV[1])
  end
end
return {m, bytes, indices, indexed}
