-- Changes the pages of one chunk, and every counter with them, in one step: puts some, drops others.
--
-- KEYS[1] chunk   KEYS[2] stripe   KEYS[3] runs of the type   KEYS[4] chunk maps of its runs   KEYS[5] types
-- ARGV[1] header, packed (app/store/script_header.py)         ARGV[2] the pool's UUID
-- ARGV[3] type    ARGV[4] run      ARGV[5] expected state of the one page: '' any, 'a' absent, 'z' zero, else the
--                                  eight bytes of its envelope's digest
-- ARGV[6 …]       the blobs of the pages to put that are not zero, by ascending index
--
-- Answers {status, …}: 0 done, 1 past its deadline, 2 the stripe was lost, 3 not the expected state; nothing was
-- written unless it is 0. Then: pages and bytes of the stripe, pages that were dropped; and if the header asked for
-- admission page by page: 1 if the pool is closed now, times the limit was hit, and two maps (low, high words) of the
-- pages refused for bytes and for metadata.
--
-- Everything is read and decided before the first write, since an error takes nothing back. The first write is an HSET
-- where blobs come in (Redis refuses that for lack of memory, whole), and else an HDEL (which it then still allows).

local band, bor, bnot, lshift = bit.band, bit.bor, bit.bnot, bit.lshift
local call = redis.call

local deadline, check, place, index, exact, refuse, keep,
      zlo, zhi, slo, shi, rlo, rhi, blo, bhi, dlo, dhi,
      new_zero, new_same, new_raw, new_blobs, new_bytes,
      closed, headroom, reopen, page_room = struct.unpack('<dI4BBBBBI4I4I4I4I4I4I4I4I4I4BBBBdBddd', ARGV[1])

local now = call('TIME')
if now[1] * 1000000 + now[2] > deadline then return {1} end

local type_field = 't' .. ARGV[3]
local stripe = call('HMGET', KEYS[2], 'id', 'n', type_field)
if stripe[1] ~= ARGV[2] then return {2} end

local m = call('HGET', KEYS[1], 'm')
local plo, phi, ozlo, ozhi, oslo, oshi, orlo, orhi, held = 0, 0, 0, 0, 0, 0, 0, 0, 0
if m then
  if #m == 12 then
    plo, phi = struct.unpack('<I4I4', m, 5)
    ozlo, ozhi = plo, phi
  else
    plo, phi, ozlo, ozhi, oslo, oshi, orlo, orhi, held = struct.unpack('<I4I4I4I4I4I4I4I4I4', m, 5)
  end
end
local oblo, obhi = band(plo, bnot(ozlo)), band(phi, bnot(ozhi))

-- Whether page i of the chunk is in a map given as two words.
local function has(lo, hi, i)
  if i < 32 then return band(lo, lshift(1, i)) ~= 0 end
  return band(hi, lshift(1, i - 32)) ~= 0
end

-- The map without page i.
local function without(lo, hi, i)
  if i < 32 then return band(lo, bnot(lshift(1, i))), hi end
  return lo, band(hi, bnot(lshift(1, i - 32)))
end

local function count(lo, hi)
  if lo == 0 and hi == 0 then return 0 end
  local n = 0
  lo, hi = band(lo, -1), band(hi, -1)
  while lo ~= 0 do lo = band(lo, lo - 1) n = n + 1 end
  while hi ~= 0 do hi = band(hi, hi - 1) n = n + 1 end
  return n
end

local expected = ARGV[5]
if expected ~= '' then
  local state = 'a'
  if has(ozlo, ozhi, index) then
    state = 'z'
  elseif has(plo, phi, index) then
    state = string.sub(call('HGET', KEYS[1], index) or '', 2, 9)
  end
  if state ~= expected then return {3} end
end

-- Decide. Refused pages leave the maps of what is put, and join those that are dropped (the stale-copy rule) unless the
-- caller keeps what was there (an image's write).
local limit_hits, flo, fhi, mlo, mhi = 0, 0, 0, 0, 0
local blob_of = {}
local freed = nil
if exact == 1 or refuse == 1 then
  local position, bytes, pages = 5, 0, 0
  freed = 0
  for i = 0, 63 do
    local is_blob, is_zero = has(blo, bhi, i), has(zlo, zhi, i)
    if is_blob then position = position + 1 end
    if is_blob or is_zero or has(dlo, dhi, i) then
      local was_present = has(plo, phi, i)
      local old = has(oblo, obhi, i) and call('HSTRLEN', KEYS[1], i) or 0
      local low, high = 0, 0
      if i < 32 then low = lshift(1, i) else high = lshift(1, i - 32) end
      local refused = false
      if is_blob or is_zero then
        if not was_present and pages >= page_room then
          refused = true
          mlo, mhi = bor(mlo, low), bor(mhi, high)
        elseif is_blob then
          if refuse == 1 then
            refused = true
          else
            if bytes >= headroom then
              limit_hits = limit_hits + 1
              closed = 1
            elseif closed == 1 and bytes <= reopen then
              closed = 0
            end
            refused = closed == 1
          end
          if refused then flo, fhi = bor(flo, low), bor(fhi, high) end
        end
      end
      if (is_blob or is_zero) and not refused then
        if is_blob then
          blob_of[i] = ARGV[position]
          bytes = bytes + #ARGV[position] - old
        else
          bytes = bytes - old
        end
        freed = freed + old
        if not was_present then pages = pages + 1 end
      else
        if refused then
          zlo, zhi = band(zlo, bnot(low)), band(zhi, bnot(high))
          blo, bhi = band(blo, bnot(low)), band(bhi, bnot(high))
          slo, shi = band(slo, bnot(low)), band(shi, bnot(high))
          rlo, rhi = band(rlo, bnot(low)), band(rhi, bnot(high))
        end
        if not (refused and keep == 1) then
          dlo, dhi = bor(dlo, low), bor(dhi, high)
          bytes = bytes - old
          freed = freed + old
          if was_present then pages = pages - 1 end
        end
      end
    end
  end
  new_zero, new_same, new_raw, new_blobs = count(zlo, zhi), count(slo, shi), count(rlo, rhi), count(blo, bhi)
  new_bytes = bytes + freed
end

-- What the pages touched were before.
local tlo, thi = bor(zlo, blo, dlo), bor(zhi, bhi, dhi)
local old_pages, old_zero, old_same, old_raw, dropped = 0, 0, 0, 0, 0
local golo, gohi = band(oblo, tlo), band(obhi, thi) -- old blobs that go or are overwritten
if band(plo, tlo) ~= 0 or band(phi, thi) ~= 0 then
  old_pages = count(band(plo, tlo), band(phi, thi))
  old_zero = count(band(ozlo, tlo), band(ozhi, thi))
  old_same = count(band(oslo, tlo), band(oshi, thi))
  old_raw = count(band(orlo, tlo), band(orhi, thi))
  dropped = count(band(plo, dlo), band(phi, dhi))
end
if not freed then
  if band(oblo, bnot(tlo)) == 0 and band(obhi, bnot(thi)) == 0 then
    freed = held
  else
    freed = 0
    if golo ~= 0 or gohi ~= 0 then
      local lo, hi = golo, gohi
      for i = index, 63 do
        if has(lo, hi, i) then
          freed = freed + call('HSTRLEN', KEYS[1], i)
          lo, hi = without(lo, hi, i)
          if lo == 0 and hi == 0 then break end
        end
      end
    end
  end
end

local nplo, nphi = bor(band(plo, bnot(tlo)), zlo, blo), bor(band(phi, bnot(thi)), zhi, bhi)
local nzlo, nzhi = bor(band(ozlo, bnot(tlo)), zlo), bor(band(ozhi, bnot(thi)), zhi)
local nslo, nshi = bor(band(oslo, bnot(tlo)), slo), bor(band(oshi, bnot(thi)), shi)
local nrlo, nrhi = bor(band(orlo, bnot(tlo)), rlo), bor(band(orhi, bnot(thi)), rhi)
held = held - freed + new_bytes
local is_empty = nplo == 0 and nphi == 0
local has_blobs = band(nplo, bnot(nzlo)) ~= 0 or band(nphi, bnot(nzhi)) ~= 0
local new_m
if has_blobs then
  new_m = struct.pack('<I4I4I4I4I4I4I4I4I4I4', check, nplo, nphi, nzlo, nzhi, nslo, nshi, nrlo, nrhi, held)
else
  new_m = struct.pack('<I4I4I4', check, nplo, nphi)
end

local d_pages = new_zero + new_blobs - old_pages
local d_zero, d_same, d_raw = new_zero - old_zero, new_same - old_same, new_raw - old_raw
local d_bytes = new_bytes - freed

local function changed(counters)
  local pages, zero, same, raw, bytes = 0, 0, 0, 0, 0
  if counters then pages, zero, same, raw, bytes = struct.unpack('<ddddd', counters) end
  pages, bytes = pages + d_pages, bytes + d_bytes
  return struct.pack('<ddddd', pages, zero + d_zero, same + d_same, raw + d_raw, bytes), pages, bytes
end
local stripe_counters, stripe_pages, stripe_bytes = changed(stripe[2])
local type_counters, type_pages = changed(stripe[3])
local type_appears, type_goes = not stripe[3] and type_pages > 0, stripe[3] and type_pages == 0
local chunk_appears, chunk_goes = not m and not is_empty, m and is_empty
local run_map, run_is_new, run_goes
if chunk_appears or chunk_goes then
  run_map = call('HGET', KEYS[4], ARGV[4])
  run_is_new = not run_map
  local lo, hi = struct.unpack('<I4I4', run_map or '\0\0\0\0\0\0\0\0')
  local low, high = 0, 0
  if place < 32 then low = lshift(1, place) else high = lshift(1, place - 32) end
  if chunk_appears then
    lo, hi = bor(lo, low), bor(hi, high)
  else
    lo, hi = band(lo, bnot(low)), band(hi, bnot(high))
  end
  run_goes = lo == 0 and hi == 0
  run_map = struct.pack('<I4I4', lo, hi)
end

-- Write.
if m or not is_empty then
  if new_blobs > 0 then
    local arguments = {'m', new_m}
    if exact == 1 or refuse == 1 then
      for i, blob in pairs(blob_of) do
        arguments[#arguments + 1] = i
        arguments[#arguments + 1] = blob
      end
    elseif new_blobs == 1 and has(blo, bhi, index) then
      arguments[3], arguments[4] = index, ARGV[6]
    else
      local position = 5
      for i = index, 63 do
        if has(blo, bhi, i) then
          position = position + 1
          arguments[#arguments + 1] = i
          arguments[#arguments + 1] = ARGV[position]
        end
      end
    end
    call('HSET', KEYS[1], unpack(arguments))
  end
  local gone = {}
  golo, gohi = band(golo, bnot(blo)), band(gohi, bnot(bhi))
  if golo ~= 0 or gohi ~= 0 then
    for i = index, 63 do
      if has(golo, gohi, i) then
        gone[#gone + 1] = i
        golo, gohi = without(golo, gohi, i)
        if golo == 0 and gohi == 0 then break end
      end
    end
  end
  if new_blobs == 0 then
    call('HDEL', KEYS[1], gone[1] or '-', unpack(gone, 2))
    if is_empty then
      call('UNLINK', KEYS[1])
    else
      -- A hash that grew never shrinks back: one that lost its last blob is written afresh.
      if not has_blobs and (oblo ~= 0 or obhi ~= 0) then call('UNLINK', KEYS[1]) end
      call('HSET', KEYS[1], 'm', new_m)
    end
  elseif #gone > 0 then
    call('HDEL', KEYS[1], unpack(gone))
  end
end
if type_goes then
  call('HSET', KEYS[2], 'n', stripe_counters)
  call('HDEL', KEYS[2], type_field)
  call('ZREM', KEYS[5], ARGV[3])
elseif d_pages ~= 0 or d_zero ~= 0 or d_same ~= 0 or d_raw ~= 0 or d_bytes ~= 0 then
  call('HSET', KEYS[2], 'n', stripe_counters, type_field, type_counters)
  if type_appears then call('ZADD', KEYS[5], ARGV[3], ARGV[3]) end
end
if run_goes then
  call('HDEL', KEYS[4], ARGV[4])
  call('ZREM', KEYS[3], ARGV[4])
elseif run_map then
  call('HSET', KEYS[4], ARGV[4], run_map)
  if run_is_new then call('ZADD', KEYS[3], ARGV[4], ARGV[4]) end
end

if exact == 1 or refuse == 1 then
  return {0, stripe_pages, stripe_bytes, dropped, closed, limit_hits, flo, fhi, mlo, mhi}
end
return {0, stripe_pages, stripe_bytes, dropped}
