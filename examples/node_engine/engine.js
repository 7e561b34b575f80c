// An engine for autosim in JavaScript, without packages: a square on a dark ground. Protocol: docs/protocol.md.
'use strict'
const readline = require('readline')

const HEIGHT = 32
const WIDTH = 32
const send = (message) => process.stdout.write(JSON.stringify({ autosim: 1, ...message }) + '\n')

function draw(scene, seed, image, mask) {
  const square = scene.nodes.find((node) => node.class === 'square').attributes
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) {
      const inside = Math.abs(x + 0.5 - square.x) < 5 && Math.abs(y + 0.5 - HEIGHT / 2) < 5
      const grain = (x * 7 + y * 13 + seed) % 8
      const value = inside ? Math.round(255 * square.brightness) : 20 + grain
      image.fill(value, 3 * (y * WIDTH + x), 3 * (y * WIDTH + x) + 3)
      mask[y * WIDTH + x] = inside ? 1 : 0
    }
  }
}

send({
  engine: 'squares', height: HEIGHT, width: WIDTH,
  annotations: { mask: { kind: 'ClassMask', classes: ['ground', 'square'] } }
})

const lines = readline.createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const request = JSON.parse(line)
  const count = request.scenes.length
  const size = HEIGHT * WIDTH
  const images = Buffer.alloc(count * size * 3)
  const masks = Buffer.alloc(count * size)
  try {
    request.scenes.forEach((scene, i) => draw(scene, request.seeds[i],
      images.subarray(i * size * 3, (i + 1) * size * 3), masks.subarray(i * size, (i + 1) * size)))
  } catch (error) {
    console.error(error.stack) // goes to the engine's log
    return send({ id: request.id, error: String(error.message) })
  }
  const arrays = [['image', 'u1', [count, HEIGHT, WIDTH, 3]]]
  if (request.do === 'render') arrays.push(['mask', 'u1', [count, HEIGHT, WIDTH]])
  send({ id: request.id, arrays })
  process.stdout.write(images)
  if (request.do === 'render') process.stdout.write(masks)
  process.stdout.write('\n')
})
lines.on('close', () => process.exit(0)) // autosim is gone
