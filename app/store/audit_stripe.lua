-- Recounts one stripe from the maps of its chunks, in one step, so that no store comes in between.
--
-- KEYS[1] stripe   KEYS[2] types
-- ARGV[1] '1' to write the recount where the counters differ   ARGV[2] prefix of the chunks' keys
-- ARGV[3] prefix of the runs' keys   ARGV[4] prefix of the chunk maps' keys   ARGV[5 …] types to look at
--
-- All keys bear the stripe's tag. Answers {{'' or type, recorded counters or nil, five counted numbers as text}, …}.

local out, total = {}, {0, 0, 0, 0, 0}
for a = 5, #ARGV do
  local type = ARGV[a]
  local sums = {0, 0, 0, 0, 0}
  for _, run in ipairs(call('ZRANGE', ARGV[3] .. type, 0, -1)) do
    local lo, hi = struct.unpack('<I4I4', call('HGET', ARGV[4] .. type, run) or '\0\0\0\0\0\0\0\0')
    for place = 0, 63 do
      if band(place < 32 and lo or hi, bit.lshift(1, place % 32)) ~= 0 then
        local m = call('HGET', ARGV[2] .. type .. ':' .. string.format('%.0f', run * 64 + place), 'm')
        if m and #m == 12 then
          local n = count(struct.unpack('<I4I4', m, 5))
          sums[1], sums[2] = sums[1] + n, sums[2] + n
        elseif m and #m == 40 then
          local p1, p2, z1, z2, s1, s2, r1, r2, bytes = struct.unpack('<I4I4I4I4I4I4I4I4I4', m, 5)
          sums[1], sums[2] = sums[1] + count(p1, p2), sums[2] + count(z1, z2)
          sums[3], sums[4], sums[5] = sums[3] + count(s1, s2), sums[4] + count(r1, r2), sums[5] + bytes
        end
      end
    end
  end
  for i = 1, 5 do total[i] = total[i] + sums[i] end
  local packed = struct.pack('<ddddd', unpack(sums))
  local recorded = call('HGET', KEYS[1], 't' .. type)
  out[#out + 1] = {type, recorded, packed}
  if ARGV[1] == '1' and recorded ~= packed and (recorded or sums[1] > 0) then
    if sums[1] > 0 then
      call('HSET', KEYS[1], 't' .. type, packed)
      call('ZADD', KEYS[2], type, type)
    else
      call('HDEL', KEYS[1], 't' .. type)
      call('ZREM', KEYS[2], type)
    end
  end
end
local packed = struct.pack('<ddddd', unpack(total))
local recorded = call('HGET', KEYS[1], 'n')
out[#out + 1] = {'', recorded, packed}
if ARGV[1] == '1' and recorded ~= packed then call('HSET', KEYS[1], 'n', packed) end
return out
