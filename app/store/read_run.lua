-- Reads the maps of a run's chunks in one reply; expired pages are not in them.
--
-- KEYS[1] chunk maps of the type's runs   KEYS[2 …] the run's chunks, in order
-- ARGV[1] run   ARGV[2] place of the first chunk given in KEYS   ARGV[3] '1' to have the blobs' lengths too
-- ARGV[4] second at or before which a page was stored that is expired now, 0 where none is
-- ARGV[5] second from which the type has had a policy
--
-- Answers a flat list, three items for each chunk that is held: its place, its field "m", and where asked for, a list of
-- index, length, index, length, …

local map = call('HGET', KEYS[1], ARGV[1])
if not map then return {} end
local lo, hi = struct.unpack('<I4I4', map)
local first, cutoff, since = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local out = {}
for k = 2, #KEYS do
  local place = first + k - 2
  if has(lo, hi, place) then
    local m = call('HGET', KEYS[k], 'm')
    local elo, ehi = 0, 0
    if m and cutoff > 0 then
      local plo, phi, zlo, zhi, slo, shi, rlo, rhi, held = maps_of(m)
      elo, ehi = expired_pages(call('HGET', KEYS[k], 'g'), plo, phi, cutoff, since)
      if elo ~= 0 or ehi ~= 0 then
        for i = 0, 63 do
          if has(elo, ehi, i) then held = held - blob_bytes(KEYS[k], i, has(rlo, rhi, i)) end
        end
        local llo, lhi = bnot(elo), bnot(ehi)
        plo, phi, zlo, zhi = band(plo, llo), band(phi, lhi), band(zlo, llo), band(zhi, lhi)
        m = string.sub(m, 1, 4) .. struct.pack('<I4I4', plo, phi)
        if plo ~= zlo or phi ~= zhi then
          m = m .. struct.pack('<I4I4I4I4I4I4I4', zlo, zhi, band(slo, llo), band(shi, lhi),
            band(rlo, llo), band(rhi, lhi), held)
        end
        if plo == 0 and phi == 0 then m = nil end
      end
    end
    if m then
      out[#out + 1] = place
      out[#out + 1] = m
      local lengths = {}
      if ARGV[3] == '1' then
        local _, _, _, _, _, _, rlo, rhi = maps_of(m)
        for _, field in ipairs(call('HKEYS', KEYS[k])) do
          local index = tonumber(field)
          if index and not has(elo, ehi, index) then
            lengths[#lengths + 1] = index
            lengths[#lengths + 1] = blob_bytes(KEYS[k], index, has(rlo, rhi, index))
          end
        end
      end
      out[#out + 1] = lengths
    end
  end
end
return out
