-- Which store this is, and whether its time goes on. KEYS: boot, pulse. ARGV: a name for the store if it has none.
-- Returns the name, and a number that is higher each time.
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return { redis.call('GET', KEYS[1]), redis.call('INCR', KEYS[2]) }
