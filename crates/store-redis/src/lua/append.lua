-- Appends messages to a room, has its compaction enqueued if it was not live, and tells who follows it.
-- KEYS: stream, meta, worker, paused. ARGV: floor, channel, longest push in bytes, only if nothing changed (1) or in any case (0),
-- messages. Returns the clocks, or nothing if something changed.
local stream, meta, worker, paused = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local floor, channel, longest, unless_changed = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'

local was_live = redis.call('EXISTS', stream) == 1
local known = redis.call('HMGET', meta, 'last', 'trimmed')
local last, trimmed = known[1], known[2]
if unless_changed then
  if trimmed and before(floor, trimmed) then return false end
  local after, looked_at = floor, 0
  while true do
    local entries = redis.call('XRANGE', stream, '(' .. after, '+', 'COUNT', 16)
    for _, entry in ipairs(entries) do
      local message = entry[2][1] == 'm' and entry[2][2] or ''
      -- The type may stand anywhere in it. Where another text says the same, that counts, too: the caller looks again.
      if string.find(message, 'ydoc:update:v1', 1, true) or string.find(message, 'prune:v1', 1, true) then return false end
      after = entry[1]
    end
    if #entries < 16 then break end
    looked_at = looked_at + 16
    if looked_at >= 1000 then return false end
  end
end
local now = now_ms()
local clocks = {}
local top = later(floor, later(last or nil, trimmed or nil))
for at = 5, #ARGV do
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
elseif last and #ARGV[5] <= longest then
  local next = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)
  if next[1] and next[1][1] == clocks[1] then prev = last end
end
remember(meta, 'last', top)

local size = 0
for at = 5, #ARGV do size = size + #ARGV[at] end
if not prev or size > longest then
  redis.call('SPUBLISH', channel, '1 ?\n')
else
  local parts = { '1 ' .. prev }
  for at, clock in ipairs(clocks) do
    parts[#parts + 1] = ' ' .. clock .. ':' .. #ARGV[at + 4]
  end
  parts[#parts + 1] = '\n'
  for at = 5, #ARGV do parts[#parts + 1] = ARGV[at] end
  redis.call('SPUBLISH', channel, table.concat(parts))
end
return clocks
