-- Puts all 64 pages of a chunk at once: a hash that was made beside it takes the chunk's name, and every counter changes
-- with it, in one step. What a large store consists of. The blobs never come to Lua, which would hash each of them whole,
-- byte by byte: half of what change_chunk.lua takes for such a store.
--
-- Runs in a transaction that has just made the hash (app/store/whole_chunk.py), so that it is there for nobody else.
--
-- KEYS[1] chunk   KEYS[2] stripe   KEYS[3] runs of the type   KEYS[4] chunk maps of its runs   KEYS[5] types
-- KEYS[6] the hash made beside the chunk
-- ARGV[1] packed: deadline in microseconds of Redis's clock, place of the chunk in its run, zero, same-filled and raw
--         pages, bytes of the blobs   ARGV[2] the pool's UUID   ARGV[3] type   ARGV[4] run
--
-- Answers {0, pages and bytes of the stripe, 0 pages dropped}; {1} past its deadline, {2} the stripe was lost: then
-- nothing was changed, and the hash is gone.
--
-- Everything is read and decided before the first write, as in change_chunk.lua.

local deadline, place, new_zero, new_same, new_raw, new_bytes = struct.unpack('<dBBBBd', ARGV[1])

local function refuse(status)
  call('UNLINK', KEYS[6])
  return {status}
end

local now = call('TIME')
if now[1] * 1000000 + now[2] > deadline then return refuse(1) end
local type_field = 't' .. ARGV[3]
local stripe = call('HMGET', KEYS[2], 'id', 'n', type_field)
if stripe[1] ~= ARGV[2] then return refuse(2) end

local m = call('HGET', KEYS[1], 'm')
local plo, phi, zlo, zhi, slo, shi, rlo, rhi, held = maps_of(m)
local d_pages, d_bytes = 64 - count(plo, phi), new_bytes - held
local d_zero, d_same, d_raw = new_zero - count(zlo, zhi), new_same - count(slo, shi), new_raw - count(rlo, rhi)
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
