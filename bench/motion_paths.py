"""Repeated motions of the training data: the path that was asked, and how well a clip's keeps to it. Python 3.9 without packages."""
import math

FRAMES = 80
BOUNCE, CIRCLE, SWING = "bouncing up and down", "moving in a circle", "swinging from side to side"
ANGLES = range(-60, 61, 4)  # degrees that a swing is looked for in


def motion(kind, t):
    """The training data's: x right, y down and size in half frames, turn in degrees, of frame t."""
    p = t / (FRAMES - 1)
    if kind == BOUNCE:
        return 0, 0.4 - 0.8 * abs(math.sin(4 * math.pi * p)), 0.7, 0
    if kind == CIRCLE:
        return 0.45 * math.sin(4 * math.pi * p), -0.45 * math.cos(4 * math.pi * p), 0.7, 0
    return 0, 0, 0.7, 360 * 0.12 * math.sin(6 * math.pi * p)


def asked_path(kind):
    """A tuple a frame: widths, or degrees for a swing."""
    at = [motion(kind, t) for t in range(FRAMES)]
    return [(y / 2,) if kind == BOUNCE else (x / 2, y / 2) if kind == CIRCLE else (turn,) for x, y, _, turn in at]


def turned_copies(first, n, places):
    """For each of ANGLES the values at places of an n x n picture that is turned by so much about its middle; bilinear."""
    middle, copies = (n - 1) / 2, []
    for angle in ANGLES:
        c, s, values = math.cos(math.radians(angle)), math.sin(math.radians(angle)), []
        for x, y in places:
            dx, dy = x - middle, y - middle
            u = min(max(dx * c + dy * s + middle, 0), n - 1.001)
            v = min(max(dy * c - dx * s + middle, 0), n - 1.001)
            i, fu, fv = (int(v) * n + int(u)) * 3, u % 1, v % 1
            for k in range(i, i + 3):
                top, bottom = first[k] + fu * (first[k + 3] - first[k]), first[k + 3 * n] + fu * (first[k + 3 * n + 3] - first[k + 3 * n])
                values.append(top + fv * (bottom - top))
        copies.append(values)
    return copies


def turn_path(clip):
    """Degrees clockwise by which frame 0 must be turned about the middle to be nearest to each frame."""
    n, middle, size = clip.width, (clip.width - 1) / 2, 3 * clip.width * clip.height
    places = [(x, y) for y in range(n) for x in range(n) if math.hypot(x - middle, y - middle) <= n / 2]
    copies, path = turned_copies(clip.data[:size], n, places), []
    for t in range(clip.frames):
        f = clip.data[t * size:(t + 1) * size]
        now = [v for x, y in places for v in f[(y * n + x) * 3:(y * n + x) * 3 + 3]]
        cost = [sum(abs(p - q) for p, q in zip(now, values)) for values in copies]
        best = min(range(len(cost)), key=cost.__getitem__)
        shift = 0.0
        if 0 < best < len(cost) - 1:  # vertex of the parabola through three
            bend = cost[best - 1] - 2 * cost[best] + cost[best + 1]
            shift = (cost[best - 1] - cost[best + 1]) / (2 * bend) if bend else 0.0
        path.append((ANGLES[best] + shift * ANGLES.step,))
    return path


def deviations(path):
    """Per coordinate less its mean, all in one list."""
    means = [sum(c) / len(path) for c in zip(*path)]
    return [v - m for p in path for v, m in zip(p, means)]


def bends(path):
    """Length of the second difference at frame t, index t; None at the ends and where a frame has no subject."""
    out = [None]
    for p, q, r in zip(path, path[1:], path[2:]):
        out.append(None if None in (p, q, r) else math.sqrt(sum((u - 2 * v + w) ** 2 for u, v, w in zip(p, q, r))))
    return out + [None]


def mean(values):
    """Of those that are there."""
    values = [v for v in values if v is not None]
    return sum(values) / len(values) if values else None


def path_figures(kind, path):
    """path: a tuple a frame, None without a subject. -> "follows" and "extent", jumpiness, and the last's share of each frame."""
    wanted, seen = asked_path(kind), [t for t, p in enumerate(path) if p is not None]
    if len(seen) < len(path) / 2:
        return {"follows": 0.0, "extent": 0.0}, None, None
    got, want = deviations([path[t] for t in seen]), deviations([wanted[t] for t in seen])
    power, asked_power = math.sqrt(sum(v * v for v in got)), math.sqrt(sum(v * v for v in want))
    rough = mean(bends(wanted))
    bend = [None if b is None else b / rough for b in bends(path)]
    follows = sum(p * q for p, q in zip(got, want)) / (power * asked_power) if power > 1e-9 else 0.0
    return {"follows": follows, "extent": power / asked_power}, mean(bend), bend
