-- Puts all 64 pages of a chunk at once: a hash that was made beside it takes the chunk's name, and every counter changes
-- with it, in one step. What a large store consists of. The blobs never come to Lua, which would hash each of them whole,
-- byte by byte: half of what change_chunk.lua takes for such a store.
--
-- Runs in a transaction that has just made the hash (app/store/whole_chunk.py), so that it is there for nobody else.
--
-- KEYS[1] chunk   KEYS[2] stripe   KEYS[3] runs of the type   KEYS[4] chunk maps of its runs   KEYS[5] types
-- KEYS[6] the hash made beside the chunk
-- ARGV[1] packed: deadline in microseconds of Redis's clock, place of the chunk in its run
-- ARGV[2] the pool's UUID   ARGV[3] type   ARGV[4] run
--
-- Answers {0, pages and bytes of the stripe, 0 pages dropped}; {1} past its deadline, {2} the stripe was lost: then
-- nothing was changed. The transaction takes away what is left beside the chunk.
--
-- Everything is read and decided before the first write, as in change_chunk.lua; what the new hash holds, from itself.

local deadline, place = struct.unpack('<dB', ARGV[1])

local now = call('TIME')
if now[1] * 1000000 + now[2] > deadline then return {1} end
local type_field = 't' .. ARGV[3]
local stripe = call('HMGET', KEYS[2], 'id', 'n', type_field)
if stripe[1] ~= ARGV[2] then return {2} end

local m, new_m = call('HGET', KEYS[1], 'm'), call('HGET', KEYS[6], 'm')
if not new_m then error('the hash beside the chunk is gone') end
local plo, phi, zlo, zhi, slo, shi, rlo, rhi, held = maps_of(m)
local _, _, nzlo, nzhi, nslo, nshi, nrlo, nrhi, new_held = maps_of(new_m)
local d_pages, d_bytes = 64 - count(plo, phi), new_held - held
local d_zero, d_same = count(nzlo, nzhi) - count(zlo, zhi), count(nslo, nshi) - count(slo, shi)
local d_raw = count(nrlo, nrhi) - count(rlo, rhi)
local stripe_counters, stripe_pages, stripe_bytes =
  counters_after(stripe[2], d_pages, d_zero, d_same, d_raw, d_bytes)
local type_counters = counters_after(stripe[3], d_pages, d_zero, d_same, d_raw, d_bytes)
local run_map, run_is_new
if not m then
  run_map = call('HGET', KEYS[4], ARGV[4])
  run_is_new = not run_map
  local lo, hi = struct.unpack('<I4I4', run_map or '\0\0\0\0\0\0\0\0')
  run_map = struct.pack('<I4I4', with(lo, hi, place))
end

call('RENAME', KEYS[6], KEYS[1])
call('HSET', KEYS[2], 'n', stripe_counters, type_field, type_counters)
if not stripe[3] then call('ZADD', KEYS[5], ARGV[3], ARGV[3]) end
if run_map then call('HSET', KEYS[4], ARGV[4], run_map) end
if run_is_new then call('ZADD', KEYS[3], ARGV[4], ARGV[4]) end
return {0, stripe_pages, stripe_bytes, 0}
