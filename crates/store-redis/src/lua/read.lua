-- Reads entries after a clock, at least one if there is one, until a count or a size is reached.
-- KEYS: stream, meta. ARGV: start of the range, most entries, most bytes.
-- Returns the clock up to which entries were trimmed (or ''), whether there are more (1 or 0), the entries.
local stream, meta = KEYS[1], KEYS[2]
local from, most, most_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local entries, size, more, count = {}, 0, 0, 1
while more == 0 do
  -- Twice as many each time: what is read beyond a bound was copied for nothing, and must not be more than what was not.
  local page = redis.call('XRANGE', stream, from, '+', 'COUNT', count)
  for _, entry in ipairs(page) do
    if #entries >= most or (size >= most_bytes and #entries > 0) then
      more = 1
      break
    end
    for at = 2, #entry[2], 2 do size = size + #entry[2][at] end
    entries[#entries + 1] = entry
  end
  if #page < count then break end
  count = math.min(count * 2, 256)
  from = '(' .. page[#page][1]
end
return { redis.call('HGET', meta, 'trimmed') or '', more, entries }
