"""The load query's calculation: Fibonacci by naive recursion, because it exists to cost CPU.

    fib(n) = n if n < 2 else (fib(n - 1) + fib(n - 2)) % 10037

LLVM compiles it when this module is imported, in a fraction of a second. Only the worker imports it. As a C compiler
would, it inlines the recursion into itself, LEVELS deep: a call costs more than what it calculates. Nothing else is
saved: no two calls are merged, and every addition and remainder is made.
"""

import ctypes

from llvmlite import binding as llvm

# Each one more doubles the code; from five on it gains little.
LEVELS = 5

_LEVEL = """
define {linkage} i32 @fib{level}(i32 %n) {inlining} {{
  %small = icmp slt i32 %n, 2
  br i1 %small, label %leaf, label %node
leaf:
  ret i32 %n
node:
  %n1 = sub i32 %n, 1
  %n2 = sub i32 %n, 2
  %f1 = call i32 @fib{below}(i32 %n1)
  %f2 = call i32 @fib{below}(i32 %n2)
  %sum = add i32 %f1, %f2
  %f = srem i32 %sum, 10037
  ret i32 %f
}}
"""


def _compile() -> llvm.ExecutionEngine:
    """fib0 calls fib1, fib1 calls fib2, and the last one fib0 again. All but fib0 end up inside it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    levels = [
        _LEVEL.format(
            level=level,
            below=(level + 1) % LEVELS,
            linkage="internal" if level else "",
            inlining="alwaysinline" if level else "",
        )
        for level in range(LEVELS)
    ]
    module = llvm.parse_assembly("".join(levels))
    machine = llvm.Target.from_default_triple().create_target_machine()
    passes = llvm.create_new_module_pass_manager()
    # This pass alone: those of -O2 would see that equal calls have equal results.
    passes.add_always_inliner_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


_engine = _compile()  # it owns the code
_fib = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32)(_engine.get_function_address("fib0"))


def fib(n: int) -> int:
    """The n-th Fibonacci number modulo 10037."""
    return int(_fib(n))
