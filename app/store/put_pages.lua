-- Puts pages of one type and one stripe into chunks that are there, and every counter with them, in one step. This is
-- what most stores are, as many as came together; change_chunk.lua does all the others.
--
-- KEYS[1] stripe   KEYS[1 + i] the chunk of page i; several may lie in one, none is named twice
-- ARGV[1] header, packed (app/store/put_pages.py): deadline in microseconds of Redis's clock; for each page its bit
--         in a map of the chunk, low and high word, and its kind: 0 zero, 1 same, 2 compressed, 3 raw
-- ARGV[2] the pool's UUID   ARGV[3] the type's field in the stripe
-- ARGV[2 + 2i], ARGV[3 + 2i] index and blob of page i; either all pages are zero, and all blobs empty, or none
-- ARGV[…]  behind them, the rests of the blobs of raw pages (chunk.py), in order
--
-- Answers 0 done, and no counter changed; {pages, bytes, left}: done, the stripe's counters, and a byte for each page
-- that was left alone, its number from 0 on, for want of its chunk or since a zero page would take a blob's place.
-- Nothing was written if it answers 1 past its deadline, 2 the stripe was lost, 4 it has no page of that type.
--
-- Everything is read and decided before the first write, as in change_chunk.lua, and the first write is of the same
-- kind: where Redis is out of memory, blobs are refused and zero pages are not.

local band, bor, bnot = bit.band, bit.bor, bit.bnot
local call, pack, unpack = redis.call, struct.pack, struct.unpack
local header = ARGV[1]

local now = call('TIME')
if now[1] * 1000000 + now[2] > unpack('<d', header) then return 1 end
local stripe = call('HMGET', KEYS[1], 'id', 'n', ARGV[3])
if stripe[1] ~= ARGV[2] then return 2 end
if not stripe[3] then return 4 end

local maps, is_changed, left = {}, {}, {} -- maps: the field "m" of a chunk, by its key; left: by page, and as a list
local rests, stale, rest_at = {}, {}, 2 * #KEYS + 1 -- by page: the field that it has besides, or has no more
local pages, zero, same, raw, bytes = 0, 0, 0, 0, 0 -- what the counters gain
local is_counted = false
for i = 2, #KEYS do
  local key, index, blob = KEYS[i], ARGV[2 * i], ARGV[2 * i + 1]
  local lo, hi, kind = unpack('<I4I4B', header, 9 * i - 9)
  local m = maps[key]
  if m == nil then
    m = call('HGET', key, 'm')
    maps[key] = m
  end
  local plo, phi, zlo, zhi, slo, shi, rlo, rhi, held
  local was = -1 -- absent
  if m then
    if #m == 12 then
      plo, phi = unpack('<I4I4', m, 5)
      zlo, zhi, slo, shi, rlo, rhi, held = plo, phi, 0, 0, 0, 0, 0
    else
      plo, phi, zlo, zhi, slo, shi, rlo, rhi, held = unpack('<I4I4I4I4I4I4I4I4I4', m, 5)
    end
    if band(plo, lo) ~= 0 or band(phi, hi) ~= 0 then
      if band(zlo, lo) ~= 0 or band(zhi, hi) ~= 0 then was = 0
      elseif band(slo, lo) ~= 0 or band(shi, hi) ~= 0 then was = 1
      elseif band(rlo, lo) ~= 0 or band(rhi, hi) ~= 0 then was = 3
      else was = 2 end
    end
  end
  local grown = #blob
  if kind == 3 then
    rest_at = rest_at + 1
    rests[i] = ARGV[rest_at]
    grown = grown + #rests[i]
  end
  if not m or (kind == 0 and was > 0) then
    left[#left + 1] = string.char(i - 2)
    left[-i] = true
  else
    if was > 0 then grown = grown - call('HSTRLEN', key, index) end
    if was == 3 then
      grown = grown - call('HSTRLEN', key, index .. 'r')
      stale[i] = kind ~= 3
    end
    if was ~= kind then
      if was < 0 then pages = pages + 1
      elseif was == 0 then zlo, zhi, zero = band(zlo, bnot(lo)), band(zhi, bnot(hi)), zero - 1
      elseif was == 1 then slo, shi, same = band(slo, bnot(lo)), band(shi, bnot(hi)), same - 1
      elseif was == 3 then rlo, rhi, raw = band(rlo, bnot(lo)), band(rhi, bnot(hi)), raw - 1 end
      if kind == 0 then zlo, zhi, zero = bor(zlo, lo), bor(zhi, hi), zero + 1
      elseif kind == 1 then slo, shi, same = bor(slo, lo), bor(shi, hi), same + 1
      elseif kind == 3 then rlo, rhi, raw = bor(rlo, lo), bor(rhi, hi), raw + 1 end
      plo, phi = bor(plo, lo), bor(phi, hi)
    end
    if was ~= kind or grown ~= 0 then
      bytes = bytes + grown
      local check = string.sub(m, 1, 4)
      if kind == 0 and #m == 12 then
        maps[key] = check .. pack('<I4I4', plo, phi)
      else
        maps[key] = check .. pack('<I4I4I4I4I4I4I4I4I4', plo, phi, zlo, zhi, slo, shi, rlo, rhi, held + grown)
      end
      is_changed[key] = true
      is_counted = true
    end
  end
end

local function gained(counters)
  local p, z, s, r, b = unpack('<ddddd', counters)
  return pack('<ddddd', p + pages, z + zero, s + same, r + raw, b + bytes), p + pages, b + bytes
end
local of_stripe, stripe_pages, stripe_bytes, of_type
if is_counted or #left > 0 then
  of_stripe, stripe_pages, stripe_bytes = gained(stripe[2])
  of_type = gained(stripe[3])
end

for i = 2, #KEYS do
  if not left[-i] then
    local key, index, blob = KEYS[i], ARGV[2 * i], ARGV[2 * i + 1]
    if is_changed[key] then
      is_changed[key] = nil
      if blob == '' then
        call('HDEL', key, '-')
        call('HSET', key, 'm', maps[key])
      else
        call('HSET', key, 'm', maps[key], index, blob)
      end
    elseif blob ~= '' then
      call('HSET', key, index, blob)
    end
    if rests[i] then call('HSET', key, index .. 'r', rests[i]) end
    if stale[i] then call('HDEL', key, index .. 'r') end
  end
end
if is_counted then call('HSET', KEYS[1], 'n', of_stripe, ARGV[3], of_type) end
if not stripe_pages then return 0 end
return {stripe_pages, stripe_bytes, table.concat(left)}
