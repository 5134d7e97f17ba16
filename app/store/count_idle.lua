-- Counts the pages of a run by how long ago they were stored, and touched; expired pages are left out.
--
-- KEYS[1] chunk maps of the type's runs   KEYS[2 …] the run's 64 chunks, in order
-- ARGV[1] run   ARGV[2] second from which the type has had a policy   ARGV[3] seconds that expire a page, 0 for never
-- ARGV[4 …] ages in seconds
--
-- Answers the pages looked at; and for each age, how many were stored so long ago or longer, and how many touched.

local map = call('HGET', KEYS[1], ARGV[1])
local out = {0}
for a = 4, #ARGV do
  out[#out + 1] = 0
  out[#out + 1] = 0
end
if not map then return out end
local now, since, ttl = tonumber(call('TIME')[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local lo, hi = struct.unpack('<I4I4', map)
for k = 2, #KEYS do
  if has(lo, hi, k - 2) then
    local m, g = unpack(call('HMGET', KEYS[k], 'm', 'g'))
    local plo, phi = maps_of(m)
    local elo, ehi = expired_pages(g, plo, phi, ttl > 0 and now - ttl or 0, since)
    plo, phi = band(plo, bnot(elo)), band(phi, bnot(ehi))
    for i = 0, 63 do
      if has(plo, phi, i) then
        out[1] = out[1] + 1
        local stored, touched = 0, 0
        if g and #g >= 16 + 8 * i then stored, touched = struct.unpack('<I4I4', g, 9 + 8 * i) end
        stored, touched = math.max(stored, since), math.max(touched, since)
        for a = 4, #ARGV do
          local at = 2 * (a - 3)
          if now - stored >= tonumber(ARGV[a]) then out[at] = out[at] + 1 end
          if now - touched >= tonumber(ARGV[a]) then out[at + 1] = out[at + 1] + 1 end
        end
      end
    end
  end
end
return out
