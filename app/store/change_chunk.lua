-- Changes the pages of one chunk, and every counter with them, in one step: puts some, drops others.
--
-- KEYS[1] chunk   KEYS[2] stripe   KEYS[3] runs of the type   KEYS[4] chunk maps of its runs   KEYS[5] types
-- ARGV[1] header, packed (app/store/script_header.py)         ARGV[2] the pool's UUID
-- ARGV[3] type    ARGV[4] run      ARGV[5] expected state of the one page: '' any, 'a' absent, 'z' zero, else the
--                                  eight bytes of its envelope's digest
-- ARGV[6 …]       the blobs of the pages to put that are not zero, by ascending index; each raw page's in two items
--
-- Answers {status, …}: 0 done, 1 past its deadline, 2 the stripe was lost, 3 not the expected state, 4 the type has
-- another policy; nothing was written unless it is 0. Then: pages and bytes of the stripe, pages that were dropped; and
-- if the header asked for admission page by page: 1 if the pool is closed now, times the limit was hit, and two maps
-- (low, high words) of the pages refused for bytes and for metadata. Of a governed type always, and in addition: the map
-- of those refused for the type's own limit, 1 if the type is closed now, pages and bytes of the type in the stripe.
--
-- Of a governed type (the header says its policy) the times of pages are kept, and expired pages of the chunk go.
--
-- Everything is read and decided before the first write, since an error takes nothing back. The first write is an HSET
-- where blobs come in (Redis refuses that for lack of memory, whole), and else an HDEL (which it then still allows).

local deadline, check, place, index, exact, refuse, keep,
      zlo, zhi, slo, shi, rlo, rhi, blo, bhi, dlo, dhi,
      new_zero, new_same, new_raw, new_blobs, new_bytes,
      closed, headroom, reopen, page_room = struct.unpack('<dI4BBBBBI4I4I4I4I4I4I4I4I4I4BBBBdBddd', ARGV[1])

local governed = #ARGV[1] > 94
local policy, cutoff, since, type_closed, type_headroom, type_reopen
if governed then
  policy, cutoff, since, type_closed, type_headroom, type_reopen = struct.unpack('<dI4I4Bdd', ARGV[1], 95)
end

local now = call('TIME')
if now[1] * 1000000 + now[2] > deadline then return {1} end

local type_field = 't' .. ARGV[3]
local stripe, m, g
if governed then
  stripe = call('HMGET', KEYS[2], 'id', 'n', type_field, 'x', 'x' .. ARGV[3], 'v' .. ARGV[3])
else
  stripe = call('HMGET', KEYS[2], 'id', 'n', type_field)
end
if stripe[1] ~= ARGV[2] then return {2} end
if governed then
  if tonumber(stripe[6] or 0) > policy then return {4} end
  m, g = unpack(call('HMGET', KEYS[1], 'm', 'g'))
else
  m = call('HGET', KEYS[1], 'm')
end
local plo, phi, ozlo, ozhi, oslo, oshi, orlo, orhi, held = maps_of(m)
local oblo, obhi = band(plo, bnot(ozlo)), band(phi, bnot(ozhi))
local elo, ehi = 0, 0 -- expired pages
if governed then elo, ehi = expired_pages(g, plo, phi, cutoff, since) end

local expected = ARGV[5]
if expected ~= '' then
  local state = 'a'
  if has(elo, ehi, index) then
    state = 'a'
  elseif has(ozlo, ozhi, index) then
    state = 'z'
  elseif has(plo, phi, index) then
    state = string.sub(call('HGET', KEYS[1], index) or '', 2, 9)
  end
  if state ~= expected then return {3} end
end

-- Expired pages that are not put again are dropped as well.
local first = index
if elo ~= 0 or ehi ~= 0 then
  dlo, dhi = bor(dlo, band(elo, bnot(zlo), bnot(blo))), bor(dhi, band(ehi, bnot(zhi), bnot(bhi)))
  first = 0
end

-- Decide. Refused pages leave the maps of what is put, and join those that are dropped (the stale-copy rule) unless the
-- caller keeps what was there (an image's write).
local limit_hits, flo, fhi, mlo, mhi, ylo, yhi = 0, 0, 0, 0, 0, 0, 0
local blob_of, rest_of = {}, {}
local freed = nil
if exact == 1 or refuse == 1 then
  local position, bytes, pages = 5, 0, 0
  freed = 0
  for i = 0, 63 do
    local is_blob, is_zero = has(blo, bhi, i), has(zlo, zhi, i)
    local blob, rest
    if is_blob then
      position = position + 1
      blob = ARGV[position]
      if has(rlo, rhi, i) then
        position = position + 1
        rest = ARGV[position]
      end
    end
    if is_blob or is_zero or has(dlo, dhi, i) then
      local was_present = has(plo, phi, i)
      local old = has(oblo, obhi, i) and blob_bytes(KEYS[1], i, has(orlo, orhi, i)) or 0
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
            if governed and not refused then
              if bytes >= type_headroom then
                type_closed = 1
              elseif type_closed == 1 and bytes <= type_reopen then
                type_closed = 0
              end
              if type_closed == 1 then
                refused = true
                ylo, yhi = bor(ylo, low), bor(yhi, high)
              end
            end
          end
          if refused then flo, fhi = bor(flo, low), bor(fhi, high) end
        end
      end
      if (is_blob or is_zero) and not refused then
        if is_blob then
          blob_of[i], rest_of[i] = blob, rest
          bytes = bytes + #blob + #(rest or '') - old
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
  dropped = count(band(plo, dlo, bnot(elo)), band(phi, dhi, bnot(ehi)))
end
if not freed then
  if band(oblo, bnot(tlo)) == 0 and band(obhi, bnot(thi)) == 0 then
    freed = held
  else
    freed = 0
    if golo ~= 0 or gohi ~= 0 then
      local lo, hi = golo, gohi
      for i = first, 63 do
        if has(lo, hi, i) then
          freed = freed + blob_bytes(KEYS[1], i, has(orlo, orhi, i))
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

local stripe_counters, stripe_pages, stripe_bytes =
  counters_after(stripe[2], d_pages, d_zero, d_same, d_raw, d_bytes)
local type_counters, type_pages, type_bytes = counters_after(stripe[3], d_pages, d_zero, d_same, d_raw, d_bytes)
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

if governed then g = times_after(g, bor(zlo, blo), bor(zhi, bhi), now[1]) end

-- Write.
if m or not is_empty then
  if new_blobs > 0 then
    local arguments = {'m', new_m}
    if governed then arguments = {'g', g, 'm', new_m} end
    if exact == 1 or refuse == 1 then
      for i, blob in pairs(blob_of) do
        arguments[#arguments + 1] = i
        arguments[#arguments + 1] = blob
      end
      for i, rest in pairs(rest_of) do
        arguments[#arguments + 1] = i .. 'r'
        arguments[#arguments + 1] = rest
      end
    elseif new_blobs == 1 and has(blo, bhi, index) then
      arguments[#arguments + 1] = index
      arguments[#arguments + 1] = ARGV[6]
      if has(rlo, rhi, index) then
        arguments[#arguments + 1] = index .. 'r'
        arguments[#arguments + 1] = ARGV[7]
      end
    else
      local position = 5
      for i = first, 63 do
        if has(blo, bhi, i) then
          position = position + 1
          arguments[#arguments + 1] = i
          arguments[#arguments + 1] = ARGV[position]
          if has(rlo, rhi, i) then
            position = position + 1
            arguments[#arguments + 1] = i .. 'r'
            arguments[#arguments + 1] = ARGV[position]
          end
        end
      end
    end
    call('HSET', KEYS[1], unpack(arguments))
  end
  local gone = {}
  local function goes(lo, hi, suffix)
    for i = first, 63 do
      if lo == 0 and hi == 0 then return end
      if has(lo, hi, i) then
        gone[#gone + 1] = i .. suffix
        lo, hi = without(lo, hi, i)
      end
    end
  end
  goes(band(golo, bnot(blo)), band(gohi, bnot(bhi)), '')
  goes(band(orlo, tlo, bnot(rlo)), band(orhi, thi, bnot(rhi)), 'r')
  if new_blobs == 0 then
    call('HDEL', KEYS[1], gone[1] or '-', unpack(gone, 2))
    if is_empty then
      call('UNLINK', KEYS[1])
    else
      if not has_blobs and (oblo ~= 0 or obhi ~= 0) then clear(KEYS[1]) end
      call('HSET', KEYS[1], 'm', new_m)
      if governed then call('HSET', KEYS[1], 'g', g) end
    end
  elseif #gone > 0 then
    call('HDEL', KEYS[1], unpack(gone))
  end
  if governed and tonumber(stripe[6] or 0) < policy then
    call('HSET', KEYS[2], 'v' .. ARGV[3], string.format('%.0f', policy))
  end
  if elo ~= 0 or ehi ~= 0 then
    local expired = count(elo, ehi)
    call('HSET', KEYS[2], 'x', reclaims_after(stripe[4], 0, expired, 0),
      'x' .. ARGV[3], reclaims_after(stripe[5], 0, expired, 0))
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

if governed then
  return {0, stripe_pages, stripe_bytes, dropped, closed, limit_hits, flo, fhi, mlo, mhi,
    ylo, yhi, type_closed, type_pages, type_bytes}
end
if exact == 1 or refuse == 1 then
  return {0, stripe_pages, stripe_bytes, dropped, closed, limit_hits, flo, fhi, mlo, mhi}
end
return {0, stripe_pages, stripe_bytes, dropped}
