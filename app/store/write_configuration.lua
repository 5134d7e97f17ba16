-- Sets or forgets a type's configuration, and says for all workers whether the type is governed.
--
-- KEYS[1] the configurations   ARGV[1] type   ARGV[2] its configuration, empty to forget it
-- ARGV[3] '1' if it is governed by it
--
-- The field "g<TYPE>" holds the version of the type's policy and the second from which it has had one without a break, 0
-- if it has none now; a type that was always plain has no such field. The field "v" is the newest version of all.
--
-- Answers the version that every worker must have before this is answered, 0 if nothing changes for any.

local call = redis.call
local now = call('TIME')
local old = call('HGET', KEYS[1], 'g' .. ARGV[1])
local version = now[1] * 1000000 + now[2]
local newest = tonumber(call('HGET', KEYS[1], 'v') or 0)
if version <= newest then version = newest + 1 end

call('HDEL', KEYS[1], '-') -- the first write: allowed when memory is short, where a configuration is only forgotten
if ARGV[2] == '' then
  call('HDEL', KEYS[1], ARGV[1])
else
  call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
if not old and ARGV[3] ~= '1' then return 0 end
local since = 0
if ARGV[3] == '1' then
  since = old and tonumber(string.match(old, ' (%d+)$')) or 0
  if since == 0 then since = now[1] end
end
local text = string.format('%.0f', version)
call('HSET', KEYS[1], 'v', text, 'g' .. ARGV[1], text .. ' ' .. since)
return version
