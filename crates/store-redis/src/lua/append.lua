-- Appends messages to a room, has its compaction enqueued if it was not live, and tells who follows it.
-- KEYS: stream, meta, worker, paused. ARGV: floor, channel, longest push in bytes, messages.
-- Returns the clocks.
local stream, meta, worker, paused = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local floor, channel, longest = ARGV[1], ARGV[2], tonumber(ARGV[3])

local was_live = redis.call('EXISTS', stream) == 1
local known = redis.call('HMGET', meta, 'last', 'trimmed')
local last, trimmed = known[1], known[2]
local now = now_ms()
local clocks = {}
local top = later(floor, later(last or nil, trimmed or nil))
for at = 4, #ARGV do
  local clock = add(stream, top, now, 'm', ARGV[at])
  if type(clock) == 'table' then
    -- All or nothing.
    for _, added in ipairs(clocks) do redis.call('XDEL', stream, added) end
    if not was_live then redis.call('DEL', stream) end
    return redis.error_reply(clock.err)
  end
  clocks[#clocks + 1] = clock
  top = clock
end
if not was_live and redis.call('SISMEMBER', paused, stream) == 0 then
  enqueue(worker, stream)
end

-- Who follows the room up to `prev` needs no reading. That is known only if nothing that others appended lies between.
local prev = nil
if not was_live then
  prev = later(last or nil, trimmed or nil) or '0-0'
elseif last and #ARGV[4] <= longest then
  local next = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)
  if next[1] and next[1][1] == clocks[1] then prev = last end
end
remember(meta, 'last', top)

local size = 0
for at = 4, #ARGV do size = size + #ARGV[at] end
if not prev or size > longest then
  redis.call('SPUBLISH', channel, '1 ?\n')
else
  local parts = { '1 ' .. prev }
  for at, clock in ipairs(clocks) do
    parts[#parts + 1] = ' ' .. clock .. ':' .. #ARGV[at + 3]
  end
  parts[#parts + 1] = '\n'
  for at = 4, #ARGV do parts[#parts + 1] = ARGV[at] end
  redis.call('SPUBLISH', channel, table.concat(parts))
end
return clocks
