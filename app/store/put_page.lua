-- Puts one page into a chunk that is there, and every counter with it, in one step. What most stores are costs Redis
-- half of what change_chunk.lua takes; that script does all the others.
--
-- KEYS[1] chunk   KEYS[2] stripe
-- ARGV[1] header, packed (app/store/single_pages.py): deadline in microseconds of Redis's clock; the page's bit in a map
--         of the chunk, low and high word; its kind: 0 zero, 1 same, 2 compressed, 3 raw
-- ARGV[2] the pool's UUID   ARGV[3] the type's field in the stripe   ARGV[4] index
-- ARGV[5] the page's blob, empty for a zero page
--
-- Answers 0 done, and no counter changed; {pages, bytes} of the stripe: done. Nothing was written if it answers 1 past
-- its deadline, 2 the stripe was lost, 4 a store of another kind: no such chunk, or a zero page in a blob's place.
--
-- Everything is read and decided before the first write, as in change_chunk.lua, and the first write is of the same kind.

local band, bor, bnot = bit.band, bit.bor, bit.bnot
local call, pack, unpack = redis.call, struct.pack, struct.unpack
local chunk, index, blob = KEYS[1], ARGV[4], ARGV[5]

local deadline, lo, hi, kind = unpack('<dI4I4B', ARGV[1])
local now = call('TIME')
if now[1] * 1000000 + now[2] > deadline then return 1 end

local stripe = call('HMGET', KEYS[2], 'id', 'n', ARGV[3])
if stripe[1] ~= ARGV[2] then return 2 end
local m = call('HGET', chunk, 'm')
if not (m and stripe[3]) then return 4 end

local plo, phi, zlo, zhi, slo, shi, rlo, rhi, held
if #m == 12 then
  plo, phi = unpack('<I4I4', m, 5)
  zlo, zhi, slo, shi, rlo, rhi, held = plo, phi, 0, 0, 0, 0, 0
else
  plo, phi, zlo, zhi, slo, shi, rlo, rhi, held = unpack('<I4I4I4I4I4I4I4I4I4', m, 5)
end

local was = -1 -- absent
if band(plo, lo) ~= 0 or band(phi, hi) ~= 0 then
  if band(zlo, lo) ~= 0 or band(zhi, hi) ~= 0 then was = 0
  elseif band(slo, lo) ~= 0 or band(shi, hi) ~= 0 then was = 1
  elseif band(rlo, lo) ~= 0 or band(rhi, hi) ~= 0 then was = 3
  else was = 2 end
end
if kind == 0 then
  if was == 0 then return 0 end
  if was > 0 then return 4 end
end

local grown = #blob
if was > 0 then
  grown = grown - call('HSTRLEN', chunk, index)
  if was == kind and grown == 0 then
    call('HSET', chunk, index, blob)
    return 0
  end
end
if was == 0 then
  zlo, zhi = band(zlo, bnot(lo)), band(zhi, bnot(hi))
elseif was == 1 then
  slo, shi = band(slo, bnot(lo)), band(shi, bnot(hi))
elseif was == 3 then
  rlo, rhi = band(rlo, bnot(lo)), band(rhi, bnot(hi))
end
if kind == 0 then
  zlo, zhi = bor(zlo, lo), bor(zhi, hi)
elseif kind == 1 then
  slo, shi = bor(slo, lo), bor(shi, hi)
elseif kind == 3 then
  rlo, rhi = bor(rlo, lo), bor(rhi, hi)
end
plo, phi = bor(plo, lo), bor(phi, hi)

local function changed(counters)
  local pages, zero, same, raw, bytes = unpack('<ddddd', counters)
  if was < 0 then pages = pages + 1 elseif was == 0 then zero = zero - 1 end
  if was == 1 then same = same - 1 elseif was == 3 then raw = raw - 1 end
  if kind == 0 then zero = zero + 1 elseif kind == 1 then same = same + 1 elseif kind == 3 then raw = raw + 1 end
  bytes = bytes + grown
  return pack('<ddddd', pages, zero, same, raw, bytes), pages, bytes
end
local stripe_counters, pages, bytes = changed(stripe[2])
local type_counters = changed(stripe[3])

local check = string.sub(m, 1, 4)
if kind == 0 then
  call('HDEL', chunk, '-')
  if #m == 12 then
    call('HSET', chunk, 'm', check .. pack('<I4I4', plo, phi))
  else
    call('HSET', chunk, 'm', check .. pack('<I4I4I4I4I4I4I4I4I4', plo, phi, zlo, zhi, slo, shi, rlo, rhi, held))
  end
else
  local new_m = check .. pack('<I4I4I4I4I4I4I4I4I4', plo, phi, zlo, zhi, slo, shi, rlo, rhi, held + grown)
  call('HSET', chunk, 'm', new_m, index, blob)
end
call('HSET', KEYS[2], 'n', stripe_counters, ARGV[3], type_counters)
return {pages, bytes}
