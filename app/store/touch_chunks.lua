-- Marks pages that were loaded as referenced, and touched now. Chunks and pages that are gone stay so.
--
-- KEYS[i] chunk   ARGV[i] its map of pages, eight bytes
--
-- Answers how many chunks were there.

local call, band, bor, lshift = redis.call, bit.band, bit.bor, bit.lshift
local now = call('TIME')
local second = struct.pack('<I4', now[1])
local touched = 0
local after = {}
for k = 1, #KEYS do
  local m, g = unpack(call('HMGET', KEYS[k], 'm', 'g'))
  if m then
    local lo, hi = struct.unpack('<I4I4', ARGV[k])
    local plo, phi = struct.unpack('<I4I4', m, 5)
    lo, hi = band(lo, plo), band(hi, phi)
    local rlo, rhi, times = 0, 0, ''
    if g then
      rlo, rhi = struct.unpack('<I4I4', g)
      times = string.sub(g, 9)
    end
    local parts, done = {}, 0
    for i = 0, 63 do
      if band(i < 32 and lo or hi, lshift(1, i % 32)) ~= 0 and #times >= 8 * i + 8 then
        parts[#parts + 1] = string.sub(times, done + 1, 8 * i + 4)
        parts[#parts + 1] = second
        done = 8 * i + 8
      end
    end
    parts[#parts + 1] = string.sub(times, done + 1)
    after[k] = struct.pack('<I4I4', bor(rlo, lo), bor(rhi, hi)) .. table.concat(parts)
    touched = touched + 1
  end
end
if touched > 0 then
  call('HDEL', KEYS[next(after)], '-') -- the first write: allowed when memory is short
  for k, g in pairs(after) do call('HSET', KEYS[k], 'g', g) end
end
return touched
