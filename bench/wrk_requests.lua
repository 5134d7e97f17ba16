-- Sends prepared requests in turn. Argument 1: a file of them, each as u32 little-endian length and then its bytes
-- (request line, headers, body), written by bench/load.py. Prints one line of JSON when done.
local requests = {}
local position = 0

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  while true do
    local head = file:read(4)
    if not head then break end
    local a, b, c, d = head:byte(1, 4)
    requests[#requests + 1] = file:read(a + b * 256 + c * 65536 + d * 16777216)
  end
  file:close()
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "status_errors": %d, "socket_errors": %d, "p99_seconds": %.6f}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(99) / 1e6))
end
