import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import bpy
from driver import run
def steps(d):
    yield 0.5
    import sys
    d.record["mods"]=[m for m in sys.modules if m.endswith("partsam")]
    bpy.ops.object.delete()
    bpy.ops.mesh.primitive_monkey_add(size=4)
    yield from d.open_tab()
    d.shot("tab")
    bpy.ops.partsam.segment("INVOKE_DEFAULT")
    yield 1.0
    d.shot("running")
    yield from d.wait_for(lambda: not d.session().is_busy, 120, "segment")
    yield 1
    p=d.session().problem; d.record["problem"]=str(p)
    d.shot("done")
run(steps)
