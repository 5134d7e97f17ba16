-- The hand over a part of a run: expired pages go; and until a goal of bytes is met, pages with a blob that were not
-- referenced since it last passed go, the others lose that mark (the second chance). Counters with them, in one step.
--
-- KEYS[1] stripe   KEYS[2] runs of the type   KEYS[3] chunk maps of its runs   KEYS[4] types   KEYS[5 …] chunks of the
-- run, in order of their places
-- ARGV[1] the pool's UUID   ARGV[2] type   ARGV[3] run   ARGV[4] place of the first chunk given
-- ARGV[5] deadline, microseconds of Redis's clock   ARGV[6] version of the type's policy
-- ARGV[7] bytes to free, 0 to take expired pages only   ARGV[8] seconds that expire a page, 0 for never
-- ARGV[9] second from which the type has had a policy   ARGV[10] pages to take at most, about; it looks at 16 times as
-- many at most
--
-- Answers {0, place to go on from, pages evicted, pages expired, bytes freed, pages that lost their mark, pages and bytes
-- of the stripe, pages and bytes of the type in it}; {1} past the deadline, {2} the stripe was lost, {4} the type has
-- another policy.
--
-- Everything is read and decided before the first write, which Redis allows when memory is short.

local type, run, place = ARGV[2], ARGV[3], tonumber(ARGV[4])
local now = call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[5]) then return {1} end
local stripe = call('HMGET', KEYS[1], 'id', 'n', 't' .. type, 'x', 'x' .. type, 'v' .. type)
if stripe[1] ~= ARGV[1] then return {2} end
if tonumber(stripe[6] or 0) > tonumber(ARGV[6]) then return {4} end
local goal, ttl, since, most = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local cutoff = ttl > 0 and now[1] - ttl or 0

local run_map = call('HGET', KEYS[3], run)
local run_lo, run_hi = struct.unpack('<I4I4', run_map or '\0\0\0\0\0\0\0\0')
local evicted, expired, freed, went, spared, seen = 0, 0, 0, 0, 0, 0
local d_pages, d_zero, d_same, d_raw = 0, 0, 0, 0
local changes = {}
local k = 5
while k <= #KEYS and went < most and seen < 16 * most and (goal == 0 or freed < goal) do
  local m, g
  if has(run_lo, run_hi, place) then m, g = unpack(call('HMGET', KEYS[k], 'm', 'g')) end
  if m then
    local plo, phi, zlo, zhi, slo, shi, rlo, rhi, held = maps_of(m)
    local glo, ghi = expired_pages(g, plo, phi, cutoff, since)
    expired = expired + count(glo, ghi)
    seen = seen + count(plo, phi)
    local flo, fhi = 0, 0 -- referenced
    if g then flo, fhi = struct.unpack('<I4I4', g) end
    local is_marked_anew = false
    local gone, chunk_freed = {}, 0
    for i = 0, 63 do
      if has(plo, phi, i) and not has(zlo, zhi, i) then
        local goes = has(glo, ghi, i)
        if not goes and goal > 0 and freed + chunk_freed < goal then
          if has(flo, fhi, i) then
            flo, fhi = without(flo, fhi, i)
            is_marked_anew = true
            spared = spared + 1
          else
            goes = true
            glo, ghi = with(glo, ghi, i)
            evicted = evicted + 1
          end
        end
        if goes then
          local is_raw = has(rlo, rhi, i)
          gone[#gone + 1] = i
          if is_raw then gone[#gone + 1] = i .. 'r' end
          chunk_freed = chunk_freed + blob_bytes(KEYS[k], i, is_raw)
        end
      end
    end
    local change = {key = KEYS[k], gone = gone}
    if is_marked_anew then change.g = struct.pack('<I4I4', flo, fhi) .. string.sub(g, 9) end
    if glo ~= 0 or ghi ~= 0 then
      local pages = count(glo, ghi)
      went, freed = went + pages, freed + chunk_freed
      d_pages, d_zero = d_pages - pages, d_zero - count(band(glo, zlo), band(ghi, zhi))
      d_same, d_raw = d_same - count(band(glo, slo), band(ghi, shi)), d_raw - count(band(glo, rlo), band(ghi, rhi))
      local llo, lhi = bnot(glo), bnot(ghi)
      plo, phi, zlo, zhi = band(plo, llo), band(phi, lhi), band(zlo, llo), band(zhi, lhi)
      if plo == 0 and phi == 0 then
        change.is_empty = true
        run_lo, run_hi = without(run_lo, run_hi, place)
      elseif plo == zlo and phi == zhi then
        change.is_afresh = true -- it lost its last blob
        change.m = string.sub(m, 1, 4) .. struct.pack('<I4I4', plo, phi)
        change.g = change.g or g
      else
        change.m = string.sub(m, 1, 4) .. struct.pack('<I4I4I4I4I4I4I4I4I4', plo, phi, zlo, zhi,
          band(slo, llo), band(shi, lhi), band(rlo, llo), band(rhi, lhi), held - chunk_freed)
      end
    end
    if change.g or change.m or change.is_empty then changes[#changes + 1] = change end
  end
  k, place = k + 1, place + 1
end

local stripe_counters, pages, bytes = counters_after(stripe[2], d_pages, d_zero, d_same, d_raw, -freed)
local type_counters, type_pages, type_bytes = counters_after(stripe[3], d_pages, d_zero, d_same, d_raw, -freed)

if #changes > 0 then call('HDEL', changes[1].key, '-') end
for _, change in ipairs(changes) do
  if change.is_empty then
    call('UNLINK', change.key)
  else
    if #change.gone > 0 then call('HDEL', change.key, unpack(change.gone)) end
    if change.is_afresh then clear(change.key) end
    if change.m then call('HSET', change.key, 'm', change.m) end
    if change.g then call('HSET', change.key, 'g', change.g) end
  end
end
if went > 0 then
  call('HSET', KEYS[1], 'n', stripe_counters, 'x', reclaims_after(stripe[4], evicted, expired, 0),
    'x' .. type, reclaims_after(stripe[5], evicted, expired, 0))
  if type_pages == 0 then
    call('HDEL', KEYS[1], 't' .. type)
    call('ZREM', KEYS[4], type)
  else
    call('HSET', KEYS[1], 't' .. type, type_counters)
  end
  if run_lo == 0 and run_hi == 0 then
    call('HDEL', KEYS[3], run)
    call('ZREM', KEYS[2], run)
  else
    call('HSET', KEYS[3], run, struct.pack('<I4I4', run_lo, run_hi))
  end
end
return {0, place, evicted, expired, freed, spared, pages, bytes, type_pages, type_bytes}
