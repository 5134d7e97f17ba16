-- Reads the maps of a run's chunks in one reply.
--
-- KEYS[1] chunk maps of the type's runs   KEYS[2 …] the run's chunks, in order
-- ARGV[1] run   ARGV[2] place of the first chunk given in KEYS   ARGV[3] '1' to have the blobs' lengths too
--
-- Answers a flat list, three items for each chunk that is held: its place, its field "m", and where asked for, a list of
-- index, length, index, length, …

local map = redis.call('HGET', KEYS[1], ARGV[1])
if not map then return {} end
local lo, hi = struct.unpack('<I4I4', map)
local first = tonumber(ARGV[2])
local out = {}
for k = 2, #KEYS do
  local place = first + k - 2
  local word = place < 32 and lo or hi
  if bit.band(word, bit.lshift(1, place % 32)) ~= 0 then
    local m = redis.call('HGET', KEYS[k], 'm')
    if m then
      out[#out + 1] = place
      out[#out + 1] = m
      local lengths = {}
      if ARGV[3] == '1' then
        for _, field in ipairs(redis.call('HKEYS', KEYS[k])) do
          if field ~= 'm' then
            lengths[#lengths + 1] = tonumber(field)
            lengths[#lengths + 1] = redis.call('HSTRLEN', KEYS[k], field)
          end
        end
      end
      out[#out + 1] = lengths
    end
  end
end
return out
