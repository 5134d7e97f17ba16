-- Maps of the 64 pages of a chunk as two words, and the times of its pages. Stands before the scripts that use it.

local band, bor, bnot, lshift = bit.band, bit.bor, bit.bnot, bit.lshift
local call = redis.call

-- Whether page i of the chunk is in a map.
local function has(lo, hi, i)
  if i < 32 then return band(lo, lshift(1, i)) ~= 0 end
  return band(hi, lshift(1, i - 32)) ~= 0
end

-- The map without page i.
local function without(lo, hi, i)
  if i < 32 then return band(lo, bnot(lshift(1, i))), hi end
  return lo, band(hi, bnot(lshift(1, i - 32)))
end

-- The map with page i.
local function with(lo, hi, i)
  if i < 32 then return bor(lo, lshift(1, i)), hi end
  return lo, bor(hi, lshift(1, i - 32))
end

local function count(lo, hi)
  if lo == 0 and hi == 0 then return 0 end
  local n = 0
  lo, hi = band(lo, -1), band(hi, -1)
  while lo ~= 0 do lo = band(lo, lo - 1) n = n + 1 end
  while hi ~= 0 do hi = band(hi, hi - 1) n = n + 1 end
  return n
end

-- The maps of a chunk's field "m" (chunk.py): present, zero, same, raw, two words each, and the bytes held.
local function maps_of(m)
  if not m then return 0, 0, 0, 0, 0, 0, 0, 0, 0 end
  if #m == 12 then
    local lo, hi = struct.unpack('<I4I4', m, 5)
    return lo, hi, lo, hi, 0, 0, 0, 0, 0
  end
  return struct.unpack('<I4I4I4I4I4I4I4I4I4', m, 5)
end

-- Of a map, the pages that are expired: stored at `cutoff` or before, by the chunk's field "g" (policy.py).
local function expired_pages(g, lo, hi, cutoff, since)
  if cutoff == 0 or since > cutoff then return 0, 0 end
  local elo, ehi = 0, 0
  for i = 0, 63 do
    if has(lo, hi, i) then
      local at = 9 + 8 * i
      if not g or #g < at + 7 or struct.unpack('<I4', g, at) <= cutoff then elo, ehi = with(elo, ehi, i) end
    end
  end
  return elo, ehi
end

-- Bytes of a page's blob, of which a raw page's rest lies in a field of its own (chunk.py).
local function blob_bytes(key, i, is_raw)
  local bytes = call('HSTRLEN', key, i)
  if is_raw then bytes = bytes + call('HSTRLEN', key, i .. 'r') end
  return bytes
end

-- Takes a chunk away that is to be written afresh at once, since a hash that grew never shrinks back. Not so in a slot
-- that is on its way to another node: there Redis would refuse the chunk as missing, with half of the change done; and
-- the chunk is written afresh where it goes. A key that nobody has tells which it is.
local function clear(key)
  if type(redis.pcall('EXISTS', key .. ':never')) == 'number' then call('UNLINK', key) end
end

-- Counters of a stripe or a type after a change.
local function counters_after(counters, pages, zero, same, raw, bytes)
  local p, z, s, r, b = 0, 0, 0, 0, 0
  if counters then p, z, s, r, b = struct.unpack('<ddddd', counters) end
  p, b = p + pages, b + bytes
  return struct.pack('<ddddd', p, z + zero, s + same, r + raw, b), p, b
end

-- Pages that went by themselves, and reclaims that failed, after some more.
local function reclaims_after(counters, evicted, expired, failures)
  local e, x, f = 0, 0, 0
  if counters then e, x, f = struct.unpack('<ddd', counters) end
  return struct.pack('<ddd', e + evicted, x + expired, f + failures)
end

-- The field "g" after some pages were put: stored and touched now, and with a second chance, as in zswap.
local function times_after(g, put_lo, put_hi, second)
  local lo, hi, times = 0, 0, ''
  if g then
    lo, hi = struct.unpack('<I4I4', g)
    times = string.sub(g, 9)
  end
  local pair = struct.pack('<I4I4', second, second)
  for i = 0, 63 do
    if has(put_lo, put_hi, i) then
      if #times < 8 * i then times = times .. string.rep('\0', 8 * i - #times) end
      times = string.sub(times, 1, 8 * i) .. pair .. string.sub(times, 8 * i + 9)
    end
  end
  return struct.pack('<I4I4', bor(lo, put_lo), bor(hi, put_hi)) .. times
end

